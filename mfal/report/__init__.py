"""What people get to see at the end."""
