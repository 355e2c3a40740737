"""Each trial is a job of the queue: python study.py"""

import concurrent.futures

import optuna

import tsfast


def train(x: float, y: float) -> float:
    """In a job: what takes long. With GPUs: executor.with_options(gpus=1)."""
    return (x - 2) ** 2 + (y + 1) ** 2


study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
with tsfast.Executor() as executor:
    trials = {}
    begun = 0
    while begun < 40 or trials:
        while begun < 40 and len(trials) < 4:  # as many as shall run at once
            trial = study.ask()
            point = trial.suggest_float("x", -5, 5), trial.suggest_float("y", -5, 5)
            trials[executor.with_options(label=f"trial {trial.number}").submit(train, *point)] = trial
            begun += 1
        done, _ = concurrent.futures.wait(trials, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            trial = trials.pop(future)
            try:
                study.tell(trial, future.result())
            except tsfast.JobError as error:  # killed, out of memory, cancelled: the study goes on
                print(error)
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
print(len(study.trials), round(study.best_value, 1))
