//! Calls without a telephone: the engine and the script of a live call, on a simulated leg and a virtual clock.
