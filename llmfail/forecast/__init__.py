"""What a chain's availability will be: the real engine on a simulated clock, through given outages."""
