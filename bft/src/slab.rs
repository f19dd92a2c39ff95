//! Values at places that do not move: chunks of fixed size. A freed place is reused, the last freed first.
//!
//! A vector of millions would copy itself when it grows; a slab adds one chunk.

use serde::{Deserialize, Serialize};

const CHUNK: usize = 4_096;

/// A value's place in its slab.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Place(pub u32);

/// The slab. A freed place keeps its last value until it is reused: owners leave a value there that marks it vacant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<Place>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Puts a value into a free place.
    pub fn insert(&mut self, value: T) -> Place {
        if let Some(place) = self.free.pop() {
            *self.get_mut(place) = value;
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("a chunk with room was just ensured");
        chunk.push(value);
        Place(u32::try_from(before + chunk.len() - 1).expect("memory ends before 2^32 places"))
    }

    /// The value at a place.
    #[inline]
    pub fn get(&self, place: Place) -> &T {
        &self.chunks[place.0 as usize / CHUNK][place.0 as usize % CHUNK]
    }

    /// The value at a place.
    #[inline]
    pub fn get_mut(&mut self, place: Place) -> &mut T {
        &mut self.chunks[place.0 as usize / CHUNK][place.0 as usize % CHUNK]
    }

    /// Frees a place. Its owner has left a value there that owns no memory and marks it vacant.
    pub fn free(&mut self, place: Place) {
        self.free.push(place);
    }

    /// How many places there are, vacant ones included.
    pub fn places(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// All values in order of place, vacant ones included.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<T>() + self.free.capacity() * size_of::<Place>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_valid_and_are_reused() {
        let mut slab = Slab::default();
        let places: Vec<Place> = (0..10_000u32).map(|value| slab.insert(value)).collect();
        for (value, place) in (0u32..).zip(&places) {
            assert_eq!(*slab.get(*place), value);
        }
        slab.free(places[77]);
        slab.free(places[5_000]);
        assert_eq!(slab.insert(1), places[5_000]);
        assert_eq!(slab.insert(2), places[77]);
        assert_eq!(slab.insert(3), Place(10_000));
        assert_eq!(slab.values().count(), 10_001);
    }
}
