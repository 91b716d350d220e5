//! The programs of every source on this kernel: they load and attach, and what they cost the verifier.

use std::os::fd::RawFd;

use tawon::agent::loader::Hooks;
use tawon::agent::plans::plan;
use tawon::kernel::load::{Module, Shared, Sizes};

#[test]
fn the_programs_of_every_source_load_and_attach() {
    for hooks in [Hooks::Exec, Hooks::Flows] {
        let plan = plan(hooks);
        let sizes = Sizes { pages: 4, wakeup: 64, ring_buffer: None, entries: Vec::new() };
        let mut module = match Module::load(plan, &sizes, &mut Shared::default()) {
            Ok(module) => module,
            Err(error) => panic!("{}: {error}", plan.module),
        };
        println!("{}: {:?}", plan.module, module.variant.name);
        for (program, why) in &module.unattached {
            println!("{}: {program} is not attached: {why}", plan.module);
        }
        assert!(module.attached().count() > 0);
        let costs: Vec<_> = module.programs().into_iter().map(|(name, fd)| (name, instructions(fd))).collect();
        if costs.iter().all(|(_, cost)| cost.is_none()) {
            println!("SKIPPED PART: verifier cost of {}: this kernel does not tell it (5.16)", plan.module);
        }
        for (program, cost) in costs {
            // ci/check.sh compares it with ci/verifier.tsv.
            cost.inspect(|cost| println!("verifier: {} {program} {cost}", plan.module));
        }
        assert_eq!(module.take_links().detach(), Vec::<String>::new());
    }
}

/// What the verifier went through, as the program's descriptor tells.
fn instructions(fd: RawFd) -> Option<u64> {
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    told.lines().find_map(|line| line.strip_prefix("verified_insns:")?.trim().parse().ok())
}
