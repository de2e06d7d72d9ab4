//! The client as its users run it, against a server that fails as told: races that a real one shows once a month.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod following;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod plugins;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod stores;
