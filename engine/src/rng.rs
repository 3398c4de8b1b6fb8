//! A random number generator of our own: xoshiro256++ (Blackman and Vigna), seeded by SplitMix64.
//!
//! In the tree and pinned by golden vectors, because the streams of the usual crates may change with
//! a patch release, and a changed stream is a changed digest.

/// xoshiro256++ 1.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator whose state SplitMix64 fills from `seed`, as its authors recommend.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut mixer)) }
    }

    /// The generator in this state.
    ///
    /// # Panics
    /// When it is all zero: such a generator would draw nothing but zeros.
    #[must_use]
    pub const fn from_state(state: [u64; 4]) -> Self {
        assert!(state[0] | state[1] | state[2] | state[3] != 0, "a state must not be all zero");
        Self { state }
    }

    /// The state, for a cursor.
    #[must_use]
    pub const fn state(&self) -> [u64; 4] {
        self.state
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `bound` by multiply-shift; the bias is below `bound / 2^64`. Zero for a bound of zero.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// One of `choices`, each as likely as the others.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// The draw number `n` of the stream that `seed` begins: SplitMix64, entered at any place.
#[inline]
#[must_use]
pub const fn mix(seed: u64, n: u64) -> u64 {
    finish(seed.wrapping_add(n.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// The step of SplitMix64's counter.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(GOLDEN);
    finish(*state)
}

const fn finish(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of the authors' reference implementation from state 1, 2, 3, 4.
    #[test]
    fn the_stream_is_that_of_the_reference_implementation() {
        let mut rng = Rng::from_state([1, 2, 3, 4]);
        let expected = [
            41_943_041,
            58_720_359,
            3_588_806_011_781_223,
            3_591_011_842_654_386,
            9_228_616_714_210_784_205,
            9_973_669_472_204_895_162,
            14_011_001_112_246_962_877,
            12_406_186_145_184_390_807,
            15_849_039_046_786_891_736,
            10_450_023_813_501_588_000,
        ];
        assert_eq!(expected.map(|_| rng.next_u64()), expected);
    }

    #[test]
    fn split_mix_is_that_of_the_reference_implementation() {
        let mut state = 1_234_567;
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| split_mix(&mut state)), expected);
        let mut n = 0..;
        assert_eq!(expected.map(|_| mix(1_234_567, n.next().unwrap_or_default())), expected);
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut rng = Rng::new(7);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[rng.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
