//! A configuration with its `directives.d`, as the agent reads it: what is right runs whatever else is wrong.

use tawon::config::{Loaded, Problem, load};

use super::check::Scratch;
use crate::support::agent::Agent;

const RIGHT: &str = "tasks: [{task: exec}, {task: log}]\n";

fn read(dir: &Scratch) -> Result<Loaded, Vec<Problem>> {
    load(&dir.path("tawon.yaml"), "node-7")
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.config.directives.iter().map(|directive| directive.name.as_str()).collect()
}

#[test]
fn directives_of_all_files_run_together_in_order() {
    let dir = Scratch::new("d-together");
    dir.write("tawon.yaml", &format!("directives: [{{name: main, {}}}]\n", RIGHT.trim()));
    dir.write("directives.d/20.yaml", &format!("- {{name: d, {0}}}\n- {{name: c, {0}}}\n", RIGHT.trim()));
    dir.write("directives.d/10.yaml", &format!("name: b\n{RIGHT}---\nname: a\n{RIGHT}"));
    dir.write(
        "directives.d/30.yaml",
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: tawon.mantisnet.com/v1alpha1, kind: ClusterDirective, metadata: {name: e}, spec: {tasks: [{task: exec}, {task: log}]}}\n",
    );
    let loaded = read(&dir).unwrap();
    assert_eq!(names(&loaded), ["main", "b", "a", "d", "c", "e"]);
    assert!(loaded.refused.is_empty() && loaded.warnings.is_empty());
    assert_eq!(loaded.origins["main"], dir.path("tawon.yaml"));
    assert_eq!(loaded.origins["a"], dir.path("directives.d/10.yaml"));
    assert_eq!(loaded.config.tawon_id, "node-7");
}

#[test]
fn a_wrong_file_fails_alone_and_what_ran_of_it_keeps_its_last_good_form() {
    let dir = Scratch::new("d-last-good");
    dir.write("tawon.yaml", "");
    dir.write("directives.d/a.yaml", &format!("name: a\n{RIGHT}"));
    dir.write("directives.d/b.yaml", &format!("name: b\n{RIGHT}"));
    let before = read(&dir).unwrap();
    dir.write("directives.d/a.yaml", "name: a\nduration: soon\ntasks: []\n---\nname: new\n");
    let mut after = read(&dir).unwrap();
    assert_eq!(names(&after), ["b"]);
    assert_eq!(after.refused.len(), 1);
    assert_eq!(after.refused[0].names, ["a", "new"]);
    assert_eq!(after.refused[0].problems.len(), 3);
    after.keep_last_good(&before);
    assert_eq!(names(&after), ["b", "a"]);
    assert_eq!(after.config.directives[1], before.config.directives[0]);
    // Broken a second time, and not even YAML: what is kept is kept on.
    dir.write("directives.d/a.yaml", "]");
    let mut later = read(&dir).unwrap();
    assert!(later.refused[0].names.is_empty());
    later.keep_last_good(&after);
    assert_eq!(names(&later), ["b", "a"]);
    // Mended, it is as new; gone, it is gone.
    dir.write("directives.d/a.yaml", &format!("name: a\nduration: 1s\n{RIGHT}"));
    let mut mended = read(&dir).unwrap();
    mended.keep_last_good(&later);
    assert_ne!(mended.config.directives[0], before.config.directives[0]);
    std::fs::remove_file(dir.path("directives.d/a.yaml")).unwrap();
    let mut gone = read(&dir).unwrap();
    gone.keep_last_good(&mended);
    assert_eq!(names(&gone), ["b"]);
}

#[test]
fn a_name_that_another_file_took_over_is_not_brought_back() {
    let dir = Scratch::new("d-taken");
    dir.write("tawon.yaml", "");
    dir.write("directives.d/a.yaml", &format!("name: a\n{RIGHT}"));
    let before = read(&dir).unwrap();
    dir.write("directives.d/a.yaml", "name: a\n");
    dir.write("directives.d/b.yaml", &format!("name: a\nduration: 1s\n{RIGHT}"));
    let mut after = read(&dir).unwrap();
    after.keep_last_good(&before);
    assert_eq!(names(&after), ["a"]);
    assert!(after.config.directives[0].duration.is_some());
}

#[test]
fn the_main_file_is_all_or_nothing() {
    let dir = Scratch::new("d-main");
    dir.write("tawon.yaml", &format!("directives:\n- name: a\n  {RIGHT}- name: b\n  tasks: []\n"));
    dir.write("directives.d/c.yaml", &format!("name: c\n{RIGHT}"));
    let problems = read(&dir).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0]
            .to_string()
            .ends_with("tawon.yaml:5:10: a pipeline has at least two tasks, a source and a destination")
    );
    dir.write("tawon.yaml", "tawonID: a\n---\ntawonID: b\n");
    assert!(read(&dir).unwrap_err()[0].message.contains("a configuration is one document"));
}

#[test]
fn an_object_is_keyed_by_its_namespace_where_it_has_one() {
    let dir = Scratch::new("d-namespace");
    dir.write("tawon.yaml", "");
    let object = |namespace: &str, condition: &str| {
        format!(
            "apiVersion: tawon.mantisnet.com/v1alpha1\nkind: Directive\nmetadata: {{name: sbi{namespace}}}\nspec:\n  tasks: [{{task: exec}}, {{task: log}}]\n{condition}"
        )
    };
    dir.write("directives.d/a.yaml", &object("", "  condition: {equal: {field: process.uid, value: 0}}\n"));
    let loaded = read(&dir).unwrap();
    assert_eq!(names(&loaded), ["sbi"], "an object without a namespace is as any other directive");
    dir.write("directives.d/a.yaml", &object(", namespace: core", ""));
    let loaded = read(&dir).unwrap();
    assert_eq!(loaded.refused[0].names, ["core/sbi"]);
    assert!(loaded.refused[0].problems[0].message.contains("log is for ClusterDirective objects"));
}

#[test]
fn what_lies_in_directives_d_as_a_config_map_does_is_read_once() {
    let dir = Scratch::new("d-configmap");
    dir.write("tawon.yaml", "");
    dir.write("directives.d/..2026_11_22/a.yaml", &format!("name: a\n{RIGHT}"));
    std::os::unix::fs::symlink("..2026_11_22", dir.path("directives.d/..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", dir.path("directives.d/a.yaml")).unwrap();
    let loaded = read(&dir).unwrap();
    assert_eq!(names(&loaded), ["a"]);
    dir.write("directives.d/directory.yaml/x", "");
    let loaded = read(&dir).unwrap();
    assert_eq!((names(&loaded), loaded.refused.len()), (vec!["a"], 1), "a directory of that name is refused alone");
}

#[test]
fn a_directives_d_that_is_no_directory_is_told() {
    let dir = Scratch::new("d-file");
    dir.write("tawon.yaml", "");
    dir.write("directives.d", "");
    let loaded = read(&dir).unwrap();
    assert!(loaded.refused[0].problems[0].message.starts_with("cannot be read: "));
}

#[test]
fn a_directives_d_that_cannot_be_read_any_more_ends_nothing_that_ran_from_it() {
    let dir = Scratch::new("d-lost");
    dir.write("tawon.yaml", &format!("directives: [{{name: main, {}}}]\n", RIGHT.trim()));
    dir.write("directives.d/a.yaml", &format!("name: a\n{RIGHT}"));
    let before = read(&dir).unwrap();
    std::fs::remove_dir_all(dir.path("directives.d")).unwrap();
    dir.write("directives.d", "");
    let mut after = read(&dir).unwrap();
    after.keep_last_good(&before);
    assert_eq!(names(&after), ["main", "a"]);
    assert_eq!(after.origins, before.origins);
}

#[test]
fn what_becomes_of_the_directives_of_each_file_is_told_by_their_states_and_by_directives() {
    let agent = Agent::spawn("d-states", CONFIG);
    agent.until("ready", || agent.get("/readyz").is_ok_and(|answer| answer.status == 200));
    let write = |file: &str, text: &str| {
        std::fs::create_dir_all(agent.directory.join("directives.d")).unwrap();
        std::fs::write(agent.directory.join("directives.d").join(file), text).unwrap();
    };
    let mut reloads = 1.0;
    let mut reload = || {
        reloads += 1.0;
        agent.signal("HUP");
        agent.until("read", || agent.value("tawon_config_reloads_total{status=\"success\"}") == Some(reloads));
    };
    let state = |name: &str, state: &str| {
        agent.value(&format!("tawon_directive_state{{directive=\"{name}\",state=\"{state}\"}}"))
    };
    let told = |name: &str| {
        let all: serde_json::Value = serde_json::from_str(&agent.get("/directives").unwrap().body).unwrap();
        all["directives"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    };
    // Over before it began, and told so from the start.
    agent.until("ended", || state("over", "ended") == Some(1.0));
    assert_eq!((state("over", "scheduled"), &told("over")["status"]), (Some(0.0), &"completed".into()));
    assert_eq!(told("off")["status"], "stopped");

    write("a.yaml", &format!("name: a\n{RIGHT}"));
    write("wrong.yaml", "name: wrong\ntasks: [{task: exec}]\n");
    write("double.yaml", &format!("name: over\n{RIGHT}"));
    reload();
    agent.until("runs", || state("a", "running") == Some(1.0));
    assert_eq!((state("wrong", "ended"), &told("wrong")["status"]), (Some(1.0), &"failed".into()));
    let double = agent.directory.join("directives.d/double.yaml").display().to_string();
    assert!(told(&double)["lastError"].as_str().is_some_and(|error| error.contains("\"over\"")), "{}", told(&double));

    // Another reading of it that is wrong: the last good form runs, and it is said why.
    write("a.yaml", "name: a\ntasks: []\n");
    write("wrong.yaml", "");
    std::fs::rename(agent.directory.join("directives.d/double.yaml"), agent.directory.join("double")).unwrap();
    reload();
    assert_eq!(state("wrong", "ended"), None, "a name that is gone has no series");
    assert_eq!((state("a", "running"), &told("a")["state"]), (Some(1.0), &"running".into()));
    assert!(told("a")["lastError"].as_str().is_some_and(|error| error.starts_with("its file is refused: ")));

    // Moved as it was, and put off to the future.
    std::fs::remove_file(agent.directory.join("directives.d/a.yaml")).unwrap();
    write("b.yaml", &format!("name: a\n{RIGHT}"));
    reload();
    let moved = agent.directory.join("directives.d/b.yaml").display().to_string();
    assert_eq!((&told("a")["origin"], &told("a")["lastError"]), (&moved.into(), &serde_json::Value::Null));
    write("b.yaml", &format!("name: a\nstartAt: 2100-01-01T00:00:00Z\n{RIGHT}"));
    reload();
    agent.until("stopped", || {
        agent.value("tawon_directive_runs_total{directive=\"a\",status=\"stopped\"}") == Some(1.0)
    });
    assert_eq!((state("a", "scheduled"), state("a", "ended")), (Some(1.0), Some(0.0)));

    // One that ran from a file is refused in another: its state does not leave with the run.
    write("n.yaml", &format!("name: n\n{RIGHT}"));
    reload();
    agent.until("runs", || state("n", "running") == Some(1.0));
    std::fs::remove_file(agent.directory.join("directives.d/n.yaml")).unwrap();
    write("m.yaml", "name: n\ntasks: [{task: exec}]\n");
    reload();
    let stopped = "tawon_directive_runs_total{directive=\"n\",status=\"stopped\"}";
    agent.until("stopped", || agent.value(stopped) == Some(1.0));
    // The turn in which the run ended is over once that is answered.
    assert_eq!((agent.get("/readyz").unwrap().status, state("n", "ended")), (200, Some(1.0)));
    assert!(agent.stop().success());
}

#[test]
fn a_name_that_comes_again_while_its_last_run_is_ending_has_the_state_of_the_new_one() {
    let config = "metrics: {listen: \"PORT\"}\nprobes: {listen: \"PORT\"}\n";
    let with = format!(
        "{config}directives: [{{name: c, tasks: [{{task: exec}}, {{task: file, config: {{path: DIR/fifo}}}}]}}]\n"
    );
    let agent = Agent::spawn("d-again", config);
    agent.until("ready", || agent.get("/readyz").is_ok_and(|answer| answer.status == 200));
    // Nobody reads it: what is to be written keeps the run from its end for a while.
    let fifo = agent.directory.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let value = |state: &str| agent.value(&format!("tawon_directive_state{{directive=\"c\",state=\"{state}\"}}"));
    agent.reload(&with);
    agent.until("runs", || value("running") == Some(1.0));
    agent.until("has something to write", || {
        assert!(std::process::Command::new("true").status().unwrap().success());
        agent.metrics().lines().any(|line| line.starts_with("tawon_sink_queue_bytes{") && !line.ends_with(" 0"))
    });
    agent.reload(config);
    agent.until("leaves", || !agent.get("/directives").unwrap().body.contains("\"name\":\"c\""));
    agent.reload(&with);
    agent.until("is there again", || agent.get("/directives").unwrap().body.contains("\"name\":\"c\""));
    let stopped = "tawon_directive_runs_total{directive=\"c\",status=\"stopped\"}";
    agent.until("ended", || agent.value(stopped) == Some(1.0));
    assert_eq!((value("running"), value("ended")), (Some(1.0), Some(0.0)));
    // Its programs may have left with the old one.
    agent.until("ready again", || agent.get("/readyz").unwrap().status == 200);
    assert_eq!((value("running"), value("ended")), (Some(1.0), Some(0.0)));
}

#[test]
fn watched_files_are_read_anew_and_one_that_is_cut_to_nothing_ends_nothing() {
    let agent = Agent::spawn_with("d-watch", WATCHED, &["--watch"]);
    agent.until("ready", || agent.get("/readyz").is_ok_and(|answer| answer.status == 200));
    let main = agent.directory.join("tawon.yaml");
    let text = std::fs::read_to_string(&main).unwrap();
    let reloads = |status: &str| agent.value(&format!("tawon_config_reloads_total{{status=\"{status}\"}}"));
    let runs = |name: &str| {
        agent.value(&format!("tawon_directive_state{{directive=\"{name}\",state=\"running\"}}")) == Some(1.0)
    };
    assert_eq!((reloads("success"), runs("a")), (Some(1.0), true));

    // In place, and slowly.
    std::fs::write(&main, "").unwrap();
    agent.until("refused", || reloads("failure") == Some(1.0));
    assert!(runs("a") && agent.stderr().contains("the file is empty"), "{}", agent.stderr());
    std::fs::write(&main, text.replace("name: a", "name: b")).unwrap();
    agent.until("taken", || reloads("success") == Some(2.0));
    agent.until("in the other's place", || runs("b") && !runs("a"));

    // As kubelet does: a link to a directory is replaced by another.
    std::fs::create_dir(agent.directory.join("..1")).unwrap();
    std::fs::write(agent.directory.join("..1/tawon.yaml"), text).unwrap();
    let link = agent.directory.join("..data");
    let put = |to: &str, link: &std::path::Path| {
        std::os::unix::fs::symlink(to, agent.directory.join("..tmp")).unwrap();
        std::fs::rename(agent.directory.join("..tmp"), link).unwrap();
    };
    put("..1", &link);
    put("..data/tawon.yaml", &main);
    agent.until("taken", || reloads("success") == Some(3.0));
    std::fs::create_dir(agent.directory.join("..2")).unwrap();
    let settings = WATCHED.split("directives:").next().unwrap().replace("PORT", &agent.at.to_string());
    std::fs::write(agent.directory.join("..2/tawon.yaml"), settings).unwrap();
    put("..2", &link);
    agent.until("taken", || reloads("success") == Some(4.0));
    agent.until("stopped", || !runs("a"));
    assert_eq!(reloads("failure"), Some(1.0));
}

const WATCHED: &str = "
metrics: {listen: \"PORT\"}
probes: {listen: \"PORT\"}
directives: [{name: a, tasks: [{task: exec}, {task: log}]}]
";

const CONFIG: &str = "
metrics: {listen: \"PORT\"}
probes: {listen: \"PORT\"}
directives:
  - {name: over, stopAt: 2020-01-01T00:00:00Z, tasks: [{task: exec}, {task: log}]}
  - {name: off, enabled: false, tasks: [{task: exec}, {task: log}]}
";
