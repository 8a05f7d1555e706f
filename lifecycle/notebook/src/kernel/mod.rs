//! A kernel: found, started, spoken to, watched and ended.
//!
//! [`spec`] says which command starts it, [`connection`] how it is reached, [`process`] runs it in a process
//! group of its own with its [`memory`] limited and its [`output`] kept, [`fork`] forks it instead where that was asked for, and [`client`] speaks the protocol with it. A kernel lives for one notebook.

pub mod spec;

pub mod connection;

pub mod folder;

mod group;

pub mod memory;

pub mod output;

pub mod process;

pub mod fork;

pub mod client;

pub use client::Kernel;
pub use spec::KernelChoice;
