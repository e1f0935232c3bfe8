"""What a program that asked over HTTP is answered, sans-I/O: a module for each dialect."""
