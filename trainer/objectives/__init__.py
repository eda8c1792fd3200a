"""What is minimised: the seam that SFT and DPO need."""
