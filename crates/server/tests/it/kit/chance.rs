//! Chance that can be repeated.

/// SplitMix64.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// The seeds to try: `MESH_TEST_SEED`, where it is set.
pub fn seeds(usual: &[u64]) -> Vec<u64> {
    let chosen = std::env::var("MESH_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    chosen.map_or_else(|| usual.to_vec(), |seed| vec![seed])
}
