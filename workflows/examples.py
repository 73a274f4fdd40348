"""What happens between the example pictures, in words: the shipped pair, and the micro models' own."""

SCENE = "the sun rises over the hills while a red ball rolls along the path"
MICRO_SCENE = "a shape glides across soft clouds of colour"
