"""The data set `folder`: how images and masks of any layout are found and paired."""
