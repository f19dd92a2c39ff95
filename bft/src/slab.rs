//! Values at places that do not move: chunks of fixed size. A freed place is reused, the last freed first.
//!
//! A vector of millions would copy itself when it grows; a slab adds one chunk. A clone of a slab shares its full
//! chunks with it, and whoever changes a value first copies that chunk: a snapshot of millions of values takes
//! microseconds, and the copying is spread over later changes.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

const CHUNK: usize = 1_024;

/// A value's place in its slab.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Place(pub u32);

/// The slab. A freed place keeps its last value until it is reused: owners leave a value there that marks it vacant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slab<T> {
    full: Vec<Arc<[T]>>,
    /// The chunk that is filled now; never full.
    last: Vec<T>,
    free: Vec<Place>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { full: Vec::new(), last: Vec::new(), free: Vec::new() }
    }
}

impl<T: Clone> Slab<T> {
    /// Puts a value into a free place.
    pub fn insert(&mut self, value: T) -> Place {
        if let Some(place) = self.free.pop() {
            *self.get_mut(place) = value;
            return place;
        }
        let place = self.places();
        self.last.push(value);
        if self.last.len() == CHUNK {
            self.full.push(std::mem::replace(&mut self.last, Vec::with_capacity(CHUNK)).into());
        }
        Place(u32::try_from(place).expect("memory ends before 2^32 places"))
    }

    /// The value at a place.
    #[inline]
    pub fn get_mut(&mut self, place: Place) -> &mut T {
        let (chunk, at) = (place.0 as usize / CHUNK, place.0 as usize % CHUNK);
        match self.full.get_mut(chunk) {
            Some(chunk) => &mut Arc::make_mut(chunk)[at],
            None => &mut self.last[at],
        }
    }
}

impl<T> Slab<T> {
    /// The value at a place.
    #[inline]
    pub fn get(&self, place: Place) -> &T {
        let (chunk, at) = (place.0 as usize / CHUNK, place.0 as usize % CHUNK);
        match self.full.get(chunk) {
            Some(chunk) => &chunk[at],
            None => &self.last[at],
        }
    }

    /// Frees a place. Its owner has left a value there that owns no memory and marks it vacant.
    pub fn free(&mut self, place: Place) {
        self.free.push(place);
    }

    /// How many places there are, vacant ones included.
    pub fn places(&self) -> usize {
        self.full.len() * CHUNK + self.last.len()
    }

    /// All values in order of place, vacant ones included.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.full.iter().flat_map(|chunk| chunk.iter()).chain(&self.last)
    }

    /// How many chunks there are: full ones, and the one that is filled now, which may be empty.
    pub fn chunks(&self) -> usize {
        self.full.len() + 1
    }

    /// The values of a chunk in order of place, vacant ones included.
    ///
    /// # Panics
    /// If there is no such chunk.
    pub fn chunk(&self, chunk: usize) -> &[T] {
        match chunk.cmp(&self.full.len()) {
            Ordering::Less => &self.full[chunk],
            Ordering::Equal => &self.last,
            Ordering::Greater => panic!("a slab has no chunk {chunk} beyond the one that is filled now"),
        }
    }

    /// The free places; the last one is reused first.
    pub fn free_places(&self) -> &[Place] {
        &self.free
    }

    /// The slab with these chunks and free places; `None` if they are those of no slab.
    pub fn of_chunks(mut chunks: Vec<Vec<T>>, free: Vec<Place>) -> Option<Slab<T>> {
        let last = chunks.pop().filter(|last| last.len() < CHUNK)?;
        let slab = Slab { full: chunks.into_iter().map(Arc::from).collect(), last, free };
        let is_one = slab.full.iter().all(|chunk| chunk.len() == CHUNK)
            && slab.free.iter().all(|place| (place.0 as usize) < slab.places());
        is_one.then_some(slab)
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let values = self.full.len() * CHUNK + self.last.capacity();
        values * size_of::<T>() + self.free.capacity() * size_of::<Place>()
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

    #[test]
    fn a_clone_keeps_its_values() {
        let mut slab = Slab::default();
        let places: Vec<Place> = (0..3_000u32).map(|value| slab.insert(value)).collect();
        let clone = slab.clone();
        places.iter().for_each(|place| *slab.get_mut(*place) += 1);
        slab.insert(0);
        assert!(clone.values().copied().eq(0..3_000));
        assert!(slab.values().copied().eq((1..3_001).chain([0])));
    }
}
