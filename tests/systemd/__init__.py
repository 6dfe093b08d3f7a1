"""Tests of the installer and the unit files."""
