"""Networks (autoencoder, flow network, denoiser, discriminator), diffusion maths, rollouts, checkpoints."""
