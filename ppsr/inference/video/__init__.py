"""Upscaling videos in parts that an interrupted run resumes from."""
