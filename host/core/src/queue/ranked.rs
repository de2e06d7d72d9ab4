//! An ordered set that also tells how many of its members are smaller than another: what a place in a queue is.

/// Members are kept in sorted chunks. A chunk is small enough to shift, and there are few enough to count through:
/// 100 000 members are at most 400 chunks.
#[derive(Debug)]
pub(super) struct RankedSet<T> {
    /// None is empty.
    chunks: Vec<Vec<T>>,
    len: usize,
}

const CHUNK_LEN_MAX: usize = 512;

impl<T> Default for RankedSet<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Ord + Copy> RankedSet<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.chunks.first()?.first()
    }

    pub(super) fn pop_first(&mut self) -> Option<T> {
        let first = *self.first()?;
        self.remove(&first);
        Some(first)
    }

    pub(super) fn insert(&mut self, member: T) -> bool {
        // The last chunk takes what is greater than all.
        let at = self.chunk_of(&member).min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.chunks.push(vec![member]);
            self.len = 1;
            return true;
        };
        let Err(index) = chunk.binary_search(&member) else {
            return false;
        };
        chunk.insert(index, member);
        if chunk.len() > CHUNK_LEN_MAX {
            let upper = chunk.split_off(CHUNK_LEN_MAX / 2);
            self.chunks.insert(at + 1, upper);
        }
        self.len += 1;
        true
    }

    pub(super) fn remove(&mut self, member: &T) -> bool {
        let at = self.chunk_of(member);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return false;
        };
        let Ok(index) = chunk.binary_search(member) else {
            return false;
        };
        chunk.remove(index);
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        self.len -= 1;
        true
    }

    /// How many members are smaller.
    pub(super) fn rank(&self, member: &T) -> usize {
        let at = self.chunk_of(member);
        let before: usize = self.chunks.iter().take(at).map(Vec::len).sum();
        let within = self
            .chunks
            .get(at)
            .map_or(0, |chunk| chunk.partition_point(|other| other < member));
        before + within
    }

    /// The chunk that holds the member if any does: the first whose last is not smaller.
    fn chunk_of(&self, member: &T) -> usize {
        self.chunks
            .partition_point(|chunk| chunk.last().is_some_and(|last| last < member))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(changes in prop::collection::vec((any::<bool>(), 0..3000_u32), 0..4000)) {
            let mut set = RankedSet::default();
            let mut model = BTreeSet::new();
            for (insert, member) in changes {
                if insert {
                    prop_assert_eq!(set.insert(member), model.insert(member));
                } else {
                    prop_assert_eq!(set.remove(&member), model.remove(&member));
                }
                prop_assert_eq!(set.first(), model.first());
                prop_assert_eq!(set.len(), model.len());
            }
            for member in [0, 1, 1500, 2999, 5000] {
                prop_assert_eq!(set.rank(&member), model.range(..member).count());
            }
            while let Some(first) = set.pop_first() {
                prop_assert_eq!(Some(first), model.pop_first());
            }
            prop_assert!(model.is_empty() && set.is_empty() && set.chunks.is_empty());
        }
    }
}
