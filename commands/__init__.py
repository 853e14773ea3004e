"""The commands of the command line, by what they are about. Imports of weight stand inside."""
