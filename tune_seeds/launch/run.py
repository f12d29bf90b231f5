"""Run a study that was launched: on the cluster as it is, in its directory, as its one driver."""

from __future__ import annotations

import dataclasses

from tune_seeds.core.events import Reported, TrialAssigned
from tune_seeds.core.reported import OddReportError
from tune_seeds.engine.cluster import LiveSlots, check_resources, gpus_of_a_run, start_ray
from tune_seeds.engine.sharing import Shared
from tune_seeds.engine.storage_probe import check_shared
from tune_seeds.engine.trainable_file import store_trainable
from tune_seeds.launch.drive import drive
from tune_seeds.launch.ending import Ending
from tune_seeds.launch.launch import Launch
from tune_seeds.race.common_failure import CommonFailureError
from tune_seeds.store.blueprint_file import write_blueprint
from tune_seeds.store.journal import read_events
from tune_seeds.store.lease import Lease
from tune_seeds.store.own_policy import store_policy
from tune_seeds.store.study_spec import FORMAT, HEADER, Header
from tune_seeds.store.withdraw import withdraw
from tune_seeds.training.lightning_trainer import blueprint_of


def run(launch: Launch) -> Ending:
    """Run the study until it is done or left; its journal has what came out.

    Returns:
        How it ended.

    Raises:
        FileExistsError: it is a new one, and another of its name has been started meanwhile.
        StudyInUseError: another process drives it.
        StudyLostError: another process took it over, or its directory was deleted.
        JournalNotStoredError: the storage did not take the last events.
        ValueError: the cluster has no node for a run, or nodes that do not see the storage.
        MetricNotFoundError: the first report has no such metric.
        RungMissedError: a run skips a rung.
        CommonFailureError: all runs fail alike, and none has reported.
        ray.tune.TuneError: Ray failed outside of the trials.
    """
    start_ray()
    if launch.trainable.on_gpus is not None:
        decided = launch.trainable.on_gpus(gpus_of_a_run())
        return run(dataclasses.replace(launch, trainable=decided))
    check_resources(launch.trainable.resources)
    slots = LiveSlots(
        launch.trainable.resources,
        launch.arguments.tune_config.max_concurrent_trials,
        Shared(),
    )
    if launch.resume is None:
        launch.check_new()
        launch.directory.create()
    check_shared(launch.directory, slots.bundles)
    lease = Lease.take(launch.directory, take_over=launch.take_over)
    try:
        if launch.resume is None:
            launch.check_new()
            launch.arguments.write(launch.directory)
            store_trainable(launch.directory, launch.trainable)
            if (blueprint := blueprint_of(launch.trainable)) is not None:
                write_blueprint(launch.directory, blueprint)
            if launch.policy is not None:
                store_policy(launch.directory, launch.policy)
            lease.confirm()
            launch.header.write(launch.directory)
        elif launch.growth is not None and launch.header.format < FORMAT:
            # A reader that does not know the event must not take it for damage.
            dataclasses.replace(Header.read(launch.directory), format=FORMAT).write(
                launch.directory
            )
        return drive(launch, slots, lease)
    except Exception as error:
        if launch.resume is None:
            _give_back_name(launch, error)
        raise
    finally:
        slots.leave()
        lease.release()


def _give_back_name(launch: Launch, error: Exception) -> None:
    """Let the name be used again, where a new study has come to nothing by its own mistake.

    One that was interrupted, or whose storage failed, can be restored.
    """
    if not launch.directory.exists(HEADER):
        return
    events = list(read_events(launch.directory))
    if any(isinstance(event, Reported) for event in events):
        return
    began = any(isinstance(event, TrialAssigned) for event in events)
    if began and not isinstance(error, (CommonFailureError, OddReportError)):
        return
    withdraw(launch.directory)
    traces = f"; {launch.uri}/*/error.txt has whole tracebacks" if began else ""
    error.add_note(f"Nothing was computed, and the name {launch.directory.name!r} is free{traces}.")
