//! Projects and voice sessions.

use crate::world::World;
use futures_util::future::join_all;
use storage::{
    error::{Error, Result},
    files::NewFile,
    ids::{ProjectId, UserId, VoiceSessionId},
    page::NumberedPage,
    projects::{Edit, NewProject, Project, ProjectChange},
};

const ALL: NumberedPage = NumberedPage { limit: 1000, before: None };

#[tokio::test]
async fn a_project_is_found_by_name_or_made() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let projects = &world.storage.projects;
    let made = projects.find_or_create(ada, "film").await.unwrap();
    assert_eq!(projects.find_or_create(ada, "film").await.unwrap(), made);
    assert_ne!(projects.find_or_create(bob, "film").await.unwrap().id, made.id);
    assert_ne!(projects.find_or_create(ada, "Film").await.unwrap().id, made.id);
    assert_eq!(projects.find(ada, made.id).await.unwrap(), made);
}

#[tokio::test]
async fn a_project_is_changed_in_part_or_whole() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = create(&world, ada, "film").await;
    let change = async |name, description| {
        let change = ProjectChange { name, description };
        world.storage.projects.change(ada, project.id, change).await.unwrap()
    };
    assert_eq!(change(Edit::Keep, Edit::Keep).await, project);
    let renamed = change(Edit::Replace("novel".into()), Edit::Keep).await;
    assert_eq!(renamed, Project { name: "novel".into(), ..project.clone() });
    let bare = change(Edit::Keep, Edit::Replace(None)).await;
    assert_eq!(bare, Project { description: None, ..renamed });
    assert_eq!(world.storage.projects.find(ada, project.id).await.unwrap(), bare);
}

#[tokio::test]
async fn projects_are_listed_in_pages_newest_first() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (first, second) = (create(&world, ada, "a").await, create(&world, ada, "a").await);
    create(&world, bob, "b").await;
    let list = async |limit, before| {
        world.storage.projects.list(ada, &NumberedPage { limit, before }).await.unwrap()
    };
    assert_eq!(list(1000, None).await, [second.clone(), first.clone()]);
    assert_eq!(list(0, None).await, std::slice::from_ref(&second));
    assert_eq!(list(1, Some(second.id.0)).await, [first]);
    assert_eq!(list(u64::MAX, Some(i64::MIN)).await, []);
}

#[tokio::test]
async fn what_is_anothers_is_told_from_what_is_missing() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let project = create(&world, ada, "film").await.id;
    let session = world.storage.voice_sessions.start(ada, project).await.unwrap().id;
    let refusals = async |project, session| {
        let change = ProjectChange { name: Edit::Keep, description: Edit::Keep };
        let (projects, sessions) = (&world.storage.projects, &world.storage.voice_sessions);
        [
            projects.find(bob, project).await.err(),
            projects.change(bob, project, change).await.err(),
            projects.delete(bob, project).await.err(),
            sessions.list(bob, project, &ALL).await.err(),
            sessions.start(bob, project).await.err(),
            sessions.finish(bob, session).await.err(),
        ]
        .map(Option::unwrap)
    };
    let foreign = refusals(project, session).await;
    assert!(foreign.iter().all(|error| matches!(error, Error::Forbidden)), "{foreign:?}");
    for (project, session) in [(0, 0), (-1, i64::MIN), (project.0 + 1, session.0 + 1), (i64::MAX, i64::MAX)] {
        let missing = refusals(ProjectId(project), VoiceSessionId(session)).await;
        assert!(missing.iter().all(|error| matches!(error, Error::NotFound)), "{missing:?}");
    }
}

#[tokio::test]
async fn a_voice_session_is_started_and_then_finished_once() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = create(&world, ada, "film").await.id;
    let sessions = &world.storage.voice_sessions;
    let first = sessions.start(ada, project).await.unwrap();
    let second = sessions.start(ada, project).await.unwrap();
    assert_eq!((first.project, first.finished_at, first.duration_seconds()), (project, None, None));
    world.pass(300);
    let finished = sessions.finish(ada, first.id).await.unwrap();
    assert_eq!((finished.id, finished.started_at), (first.id, first.started_at));
    assert_eq!(finished.duration_seconds(), Some(300));
    world.pass(10);
    let again = sessions.finish(ada, first.id).await;
    assert!(matches!(again, Err(Error::Input { field, .. }) if field == "session_id"));
    assert_eq!(sessions.list(ada, project, &ALL).await.unwrap(), [second, finished]);
}

#[tokio::test]
async fn of_two_who_finish_a_session_at_once_one_does() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = create(&world, ada, "film").await.id;
    let sessions = &world.storage.voice_sessions;
    let session = sessions.start(ada, project).await.unwrap();
    let outcomes = join_all((0..8).map(|_| sessions.finish(ada, session.id))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refused = |outcome: &Result<_>| matches!(outcome, Ok(_) | Err(Error::Input { .. }));
    assert!(outcomes.iter().all(refused), "{outcomes:?}");
}

#[tokio::test]
async fn a_deleted_project_takes_its_sessions_and_leaves_its_files() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let new = world.new_file(ada, None).await;
    let file =
        world.storage.files.insert(NewFile { project_name: Some("film".into()), ..new }).await.unwrap();
    let (project, _) = file.project.clone().unwrap();
    let session = world.storage.voice_sessions.start(ada, project).await.unwrap();

    world.storage.projects.delete(ada, project).await.unwrap();
    assert!(matches!(world.storage.projects.find(ada, project).await, Err(Error::NotFound)));
    assert!(matches!(world.storage.voice_sessions.finish(ada, session.id).await, Err(Error::NotFound)));
    let kept = world.storage.files.find(ada, file.id).await.unwrap();
    assert_eq!((kept.project.as_ref(), world.read(&kept).await.as_slice()), (None, b"some bytes".as_slice()));
    assert_ne!(create(&world, ada, "film").await.id, project, "a number is not used twice");
}

async fn create(world: &World, owner: UserId, name: &str) -> Project {
    let new = NewProject { owner, name: name.into(), description: Some("in words".into()) };
    world.storage.projects.create(new).await.unwrap()
}
