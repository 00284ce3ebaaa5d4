//! Host keys, judged by the real `ssh` and by us: the same files and settings lead to the same decision.

mod algorithms;
mod certificates;
mod differential;
mod servers;
mod table;
mod update;
