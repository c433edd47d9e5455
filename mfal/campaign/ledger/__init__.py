"""What a campaign has asked and been told, kept so that nothing is lost or paid for twice."""
