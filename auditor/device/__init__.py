"""What only the device knows: kernels of the project's own, built where they run."""
