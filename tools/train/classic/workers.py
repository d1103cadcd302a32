"""Two cores used by two threads with a model replica each, rather than by one parallel matrix product after another.

The replicas share the weights and keep their own gradients. Every thread takes a task when it is free, so a core that other
programs keep busy does not hold up the other one; in training each task ends in an update of the shared weights of its own.
"""
import copy
import itertools
import queue
import threading

import torch


class Workers:
    def __init__(self, model, count):
        self.model, self.lock = model, threading.Lock()
        self.jobs, self.results = queue.Queue(), queue.Queue()
        self.replicas = [copy.deepcopy(model) for _ in range(count)]
        for replica in self.replicas:
            for mine, theirs in zip(replica.state_dict(keep_vars=True).values(), model.state_dict(keep_vars=True).values()):
                mine.data = theirs.data
            threading.Thread(target=self._work, args=(replica,), daemon=True).start()

    def _work(self, replica):
        torch.set_num_threads(1)
        while True:
            number, job, task, update = self.jobs.get()
            try:
                result = job(replica, task)
                if update is not None:
                    with self.lock:
                        for theirs, mine in zip(self.model.parameters(), replica.parameters()):
                            theirs.grad, mine.grad = mine.grad, None
                        update(result)
                self.results.put((number, result))
            except BaseException as error:
                self.results.put((number, error))

    def run(self, job, tasks, update=None):
        """[job(replica, task) for task in tasks]. With `update`, each job's gradients are given to the model and update(result) is
        called, one at a time; tasks may be a generator and is read as threads become free."""
        tasks, results, pending = enumerate(tasks), {}, 0
        for number, task in itertools.islice(tasks, len(self.replicas)):
            self.jobs.put((number, job, task, update))
            pending += 1
        while pending:
            number, result = self.results.get()
            if isinstance(result, BaseException):
                raise result
            results[number] = result
            following = next(tasks, None)
            if following is None:
                pending -= 1
            else:
                self.jobs.put((following[0], job, following[1], update))
        return [results[i] for i in range(len(results))]
