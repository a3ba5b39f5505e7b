"""Alemi, Machens, Denève and Slotine (2018): coding networks that learn any dynamics from their own error."""
