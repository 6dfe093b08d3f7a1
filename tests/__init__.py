"""The tests, in the rooms of what they test; shared parts lie beside the tests that use them."""
