//! How a server behaves for a while: stalled, loading, refusing writes, gone.

/// The states that a server is in, each until a time. `K` names the fault that put it there.
#[derive(Clone, Debug)]
pub struct States<K>(Vec<(K, u64)>);

impl<K> Default for States<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + PartialEq> States<K> {
    /// Puts the server into a state until `until_ns`; one it is in already may end earlier or later.
    pub fn enter(&mut self, state: K, until_ns: u64) {
        self.0.push((state, until_ns));
    }

    /// Whether it is in a state at `now_ns`.
    #[must_use]
    pub fn is_in(&self, state: K, now_ns: u64) -> bool {
        self.0.iter().any(|&(at, until_ns)| at == state && until_ns > now_ns)
    }

    /// When a state ends that it is in at `now_ns`.
    #[must_use]
    pub fn ends_ns(&self, state: K, now_ns: u64) -> Option<u64> {
        let lasting = self.0.iter().filter(|&&(at, until_ns)| at == state && until_ns > now_ns);
        lasting.map(|&(_, until_ns)| until_ns).max()
    }

    /// All states that it is in at `now_ns`, in the order in which it entered them.
    pub fn lasting(&self, now_ns: u64) -> impl Iterator<Item = K> {
        self.0.iter().filter(move |&&(_, until_ns)| until_ns > now_ns).map(|&(state, _)| state)
    }

    /// Ends all states but those that `keep`.
    pub fn end_all_but(&mut self, keep: impl Fn(K) -> bool) {
        self.0.retain(|&(state, _)| keep(state));
    }
}

#[cfg(test)]
mod tests {
    use super::States;

    #[test]
    fn a_state_lasts_until_its_latest_end() {
        let mut states = States::default();
        states.enter('a', 10);
        states.enter('a', 5);
        states.enter('b', 7);
        assert_eq!(states.ends_ns('a', 6), Some(10));
        assert!(states.is_in('b', 6) && !states.is_in('b', 7));
        assert_eq!(states.lasting(6).collect::<String>(), "ab");
        states.end_all_but(|state| state == 'b');
        assert!(!states.is_in('a', 6) && states.is_in('b', 6));
    }
}
