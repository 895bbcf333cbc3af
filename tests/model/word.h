/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state word of lib/extent/state.c with fewer bits, for the models:
 *
 *	generation 8 | count 2 | exclusive | writers | state 2 | publishing | waiters
 *
 * Every step between two loads, stores or CASes of the code is a step of the
 * model. A d_step is one instruction, or touches nothing that is shared.
 */
#define FREE		0
#define RESERVED	1
#define LIVE		2
#define RETIRED		3

#define WAITERS		1
#define PUBLISHING	2
#define STATE_SHIFT	2
#define STATE_MASK	(3 << STATE_SHIFT)
#define WRITERS		16
#define EXCLUSIVE	32
#define COUNT_SHIFT	6
#define COUNT_ONE	(1 << COUNT_SHIFT)
#define COUNT_MAX	3
#define GENERATION_SHIFT	8

#define state_of(w)	(((w) & STATE_MASK) >> STATE_SHIFT)
#define count_of(w)	(((w) >> COUNT_SHIFT) & COUNT_MAX)
#define generation_of(w)	((w) >> GENERATION_SHIFT)
#define with_state(w, s) (((w) & ~STATE_MASK) | ((s) << STATE_SHIFT))
#define next_generation(w)	((generation_of(w) + 1) << GENERATION_SHIFT)
#define retired(w) \
	(count_of(w) == 0 -> next_generation(w) : \
	 with_state((w) & ~PUBLISHING, RETIRED))

/* dp_word_refuses() of state_word.h: this generation has ended or is about to end. */
#define ESTALE(w, l)	(generation_of(w) != (l) || state_of(w) == FREE)
#define EALREADY(w)	(state_of(w) == RETIRED)

/* A strong CAS. A weak one that fails spuriously would only repeat the loop. */
inline cas(where, old, new, done)
{
	d_step {
		if
		:: where == old -> where = new; done = true
		:: else -> old = where; done = false
		fi
	}
}
