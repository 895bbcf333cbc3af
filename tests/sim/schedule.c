/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One actor has the turn and runs; the others sleep on a condition variable. The
 * library's mutexes are wrapped by the linker (tests/sim/meson.build): an actor that
 * finds one locked passes the turn on and tries again when it gets it back, so no actor
 * sleeps while it has the turn.
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "media.h"
#include "schedule.h"

/* If so many turns pass without a schedule_point(), all actors wait for each other. */
#define IDLE_ROUNDS	1000u

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);

struct run {
	const struct schedule *schedule;
	void (*actor)(uint32_t index, void *arg);
	void *arg;
	uint32_t actors;
	pthread_mutex_t mutex;
	pthread_cond_t passed;
	uint32_t baton;
	bool ended[SCHEDULE_ACTORS];
	uint32_t points;
	uint32_t next;			/* preemption */
	uint32_t idle;
};

struct player {
	struct run *run;
	uint32_t index;
};

static _Thread_local struct run *running;	/* of this actor, or NULL */

/* Gives the turn to `to` and waits until it is back. The caller has the mutex. */
static void pass(struct run *run, uint32_t to)
{
	run->baton = to;
	pthread_cond_broadcast(&run->passed);
	while (run->baton != media_actor)
		pthread_cond_wait(&run->passed, &run->mutex);
}

/* Returns the next actor after `from` that has not ended, or `actors` if all have. */
static uint32_t next_actor(const struct run *run, uint32_t from)
{
	for (uint32_t i = 1; i <= run->actors; i++)
		if (!run->ended[(from + i) % run->actors])
			return (from + i) % run->actors;
	return run->actors;
}

void schedule_point(void)
{
	struct run *run = running;
	uint32_t to;

	if (!run)
		return;
	run->points++;
	run->idle = 0;
	if (run->next == run->schedule->preemptions ||
	    run->schedule->at[run->next].point != run->points)
		return;
	to = run->schedule->at[run->next++].actor;
	if (to >= run->actors || run->ended[to] || to == media_actor)
		return;
	__real_pthread_mutex_lock(&run->mutex);
	pass(run, to);
	pthread_mutex_unlock(&run->mutex);
}

void schedule_wait(void)
{
	struct run *run = running;

	if (!run)
		return;
	if (++run->idle > IDLE_ROUNDS) {
		fprintf(stderr, "sim: all actors wait for each other\n");
		abort();
	}
	__real_pthread_mutex_lock(&run->mutex);
	pass(run, next_actor(run, media_actor));
	pthread_mutex_unlock(&run->mutex);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	if (!running)
		return __real_pthread_mutex_lock(mutex);
	while (pthread_mutex_trylock(mutex))
		schedule_wait();
	return 0;
}

static void *play(void *arg)
{
	struct player *player = arg;
	struct run *run = player->run;

	media_actor = player->index;
	__real_pthread_mutex_lock(&run->mutex);
	while (run->baton != player->index)
		pthread_cond_wait(&run->passed, &run->mutex);
	pthread_mutex_unlock(&run->mutex);
	running = run;
	run->actor(player->index, run->arg);
	running = NULL;
	__real_pthread_mutex_lock(&run->mutex);
	run->ended[player->index] = true;
	run->baton = next_actor(run, player->index);
	pthread_cond_broadcast(&run->passed);
	/* Ends only after all others, so that no actor reuses this thread's slot. */
	while (run->baton < run->actors)
		pthread_cond_wait(&run->passed, &run->mutex);
	pthread_mutex_unlock(&run->mutex);
	return NULL;
}

uint32_t schedule_run(const struct schedule *schedule, uint32_t actors,
		      void (*actor)(uint32_t index, void *arg), void *arg)
{
	struct run run = {
		.schedule = schedule, .actors = actors,
		.actor = actor, .arg = arg,
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.passed = PTHREAD_COND_INITIALIZER,
	};
	struct player player[SCHEDULE_ACTORS];
	pthread_t thread[SCHEDULE_ACTORS];

	assert(actors && actors <= SCHEDULE_ACTORS && !running);
	for (uint32_t i = 0; i < actors; i++) {
		player[i] = (struct player) { &run, i };
		if (pthread_create(&thread[i], NULL, play, &player[i])) {
			perror("sim: no thread");
			exit(1);
		}
	}
	for (uint32_t i = 0; i < actors; i++)
		pthread_join(thread[i], NULL);
	return run.points;
}
