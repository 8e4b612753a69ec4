"""The 20 language and translation curves of Alabdulmohsin et al. 2022, fitted by M1 to M4."""
