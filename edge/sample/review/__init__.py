"""What people see and say of a sample: gallery, answers, second readers, signing; knows no page and no thread."""
