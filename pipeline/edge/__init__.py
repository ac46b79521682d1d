"""Small devices: microcontrollers, NPUs and the boards that have them."""
