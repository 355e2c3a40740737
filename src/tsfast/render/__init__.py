"""Turns records into text for people and scripts; changes nothing."""
