"""What a reply or an error says about the request, the target and the credential."""
