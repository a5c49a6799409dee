"""Looking through a whole data set: its statistics, and what is wrong or odd with it."""
