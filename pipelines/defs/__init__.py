"""Assets, checks, sensors and schedules."""
