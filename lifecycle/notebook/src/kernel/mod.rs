//! A kernel: found, started, spoken to, watched and ended.
//!
//! [`spec`] says which command starts it, [`connection`] how it is reached, [`process`] runs it in a process
//! group of its own, and [`client`] speaks the protocol with it. A kernel lives for one notebook.

pub mod spec;

pub mod connection;

pub mod process;

pub mod client;

pub use client::Kernel;
pub use spec::KernelChoice;
