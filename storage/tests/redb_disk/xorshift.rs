//! Random numbers that are the same in every run.

/// Marsaglia's xorshift with 64 bits.
pub struct Xorshift(u64);

impl Xorshift {
    /// Numbers from a seed.
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero, and small seeds begin with small numbers.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// True as often as false.
    pub fn coin(&mut self) -> bool {
        // The lowest bits of xorshift are its worst.
        self.next() >> 40 & 1 == 1
    }
}
