"""Graphics cards: seen through NVML in a process that may hang or die, given out by free memory.

Without NVML, or without a card, all of it steps aside: servers are started without a word about cards.
"""
