//! Sweeps: a step that is run many times with other values, and stands for its best.
//!
//! How the next trial is chosen is pure: [`space`] makes numbers of values and back, [`grid`], [`random`]
//! and [`tpe`] propose points from a [`seed`] and from what has come so far, [`halving`] says who has fallen
//! behind. [`study`] is one search under way, without a clock or a disk. [`drive`] lets its trials run, as
//! many at once as the machine has room for, each as [`trial`] says; [`resume`] finds what an earlier sweep
//! has done already; [`forecast`] tells what a sweep would do.
//!
//! A trial is a node of the graph that is made while the run goes on: it has a key, a row and a place in the
//! cache like any step, and nothing after it knows that it was one.

pub mod drive;
pub mod forecast;
pub mod grid;
pub mod halving;
pub mod random;
pub mod resume;
pub mod seed;
pub mod space;
pub mod study;
pub mod tpe;
pub mod trial;
