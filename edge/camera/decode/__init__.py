"""Files as fields of view: pictures, stacks and videos decoded whole or refused with the cause; opens no camera."""
