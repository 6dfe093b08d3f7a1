"""What `doctor` and `support` look at beyond one command; prints nothing and changes nothing."""
