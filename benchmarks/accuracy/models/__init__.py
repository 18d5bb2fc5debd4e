"""Builders of small models with random weights; nothing is downloaded."""
