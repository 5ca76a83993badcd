//! Replays the seeds of the fuzz targets, and deterministic small mutations of them.
//! `SEED_CHANGES=100000 cargo test --test seeds` makes it a long run.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;

use accounts_server::fuzzing::KINDS;

/// Mutations of each seed, unless the environment sets another number.
const CHANGES: usize = 200;

/// Deterministic pseudo-random numbers (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below.max(1)
    }
}

/// A copy with bytes changed, inserted, removed, or a piece repeated.
fn changed(seed: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const TELLING: &[u8] = b"\0\n\r\"'\\{}[]:,;=&%@.-+\xff\xc3\x80";
    let mut copy = seed.to_vec();
    for _ in 0..=numbers.next(4) {
        let at = numbers.next(copy.len());
        match numbers.next(4) {
            0 if !copy.is_empty() => copy[at] = TELLING[numbers.next(TELLING.len())],
            1 => copy.insert(at, TELLING[numbers.next(TELLING.len())]),
            2 if !copy.is_empty() => drop(copy.remove(at)),
            _ => {
                let piece = copy[at..(at + numbers.next(16)).min(copy.len())].to_vec();
                copy.extend(piece);
            }
        }
    }
    copy
}

#[test]
fn every_seed_and_mutation_is_read_without_a_panic() {
    let changes = std::env::var("SEED_CHANGES").map_or(CHANGES, |number| {
        number.parse().expect("SEED_CHANGES is a number")
    });
    let mut read = 0;
    for (name, reads) in KINDS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(name);
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let seed = fs::read(&file).unwrap();
            reads(&seed);
            let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
            for _ in 0..changes {
                reads(&changed(&seed, &mut numbers));
                read += 1;
            }
        }
    }
    assert!(read > 4000, "{read}");
}
