//! A small generator of random numbers: the same numbers for the same seed on every machine and in every release.

/// SplitMix64 (Steele, Lea and Flood, 2014). Its quality is far beyond what choosing faults needs.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub const fn below(&mut self, bound: u32) -> u32 {
        // Below 2^32, because it is the upper half of a product of two 32-bit numbers.
        (((self.bits() >> 32) * bound as u64) >> 32) as u32
    }

    /// True `percent` times in a hundred.
    pub const fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
}
