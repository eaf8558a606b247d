/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A model of the life of one block, as in mm/transient_memmap.c, for spin. The
 * names are those of the functions there.
 *
 * Tasks pin and unpin, each on a CPU with a TLB of its own; a task drops what the
 * pool keeps; the pool's worker frees; and the provider unregisters. Checked, in
 * all interleavings:
 *
 * - whoever touches a struct page finds it mapped, and by the page that the block
 *   has now, not by a stale translation of one that was freed;
 * - the block is on the list of the dying once, and the worker is called for it;
 * - the pool is not used after it was destroyed;
 * - at the end nothing is left: no mapping, page, charge or reference.
 *
 * Each of these precautions can be left out, and then the check has to fail:
 * NO_GRACE_PERIOD, NO_FLUSH_BEFORE_FREE, REVIVE_WITHOUT_LINK_REF,
 * UNMAP_WITHOUT_STATE_CHECK, NO_RCU_IN_FREE_FOLIO.
 *
 *	spin -a block.pml && gcc -O2 -o pan pan.c && ./pan
 */

#ifndef PINNERS
#define PINNERS	2
#endif
#define ROUNDS	2		/* pins of each */

#define DROPPER	PINNERS		/* CPUs of the others */
#define WORKER	(PINNERS + 1)
#define CPUS	(PINNERS + 2)
#define PAGES	2		/* a page, and one to mistake it for */

mtype = { ABSENT, POPULATING, LIVE, HIDDEN, UNMAPPED };

mtype state = ABSENT;		/* of the block, in its section */
byte pte;			/* the page that vmemmap maps, 0 for none */
bool used[PAGES + 1];		/* pages that are allocated */
byte tlb[CPUS];			/* what each CPU has cached of pte */
byte rcu[CPUS];			/* in an RCU read-side section */

byte ref;			/* the folio's refcount: lies in the struct page */
bool kept;			/* on the pool's list, with a reference */
bool dying;			/* on the list of the dying */
bool queued, running;		/* the worker */
byte pgref;			/* references on the pgmap */
bool killed;			/* pgmap->ref gives no more references */
bool destroyed;			/* the pool */
byte left = PINNERS;		/* pinners that are not done */

/* Read or write a struct page of the block on this CPU. */
inline touch(cpu) {
	if
	:: !tlb[cpu] -> tlb[cpu] = pte
	:: else
	fi;
	assert(tlb[cpu]);		/* it is mapped, */
	assert(used[tlb[cpu]]);		/* not to memory of somebody else, */
	assert(tlb[cpu] == pte)		/* and to where all others look */
}

/* A CPU may cache a translation at any time, also if nobody asked for it. */
inline speculate(cpu) {
	if
	:: pte && !tlb[cpu] -> tlb[cpu] = pte
	:: skip
	fi
}

/* transient_memmap_free_folio(): the refcount is 0 */
inline free_folio(cpu, was_empty) {
#ifndef NO_RCU_IN_FREE_FOLIO
	rcu[cpu]++;
#endif
	atomic {			/* llist_add() */
		touch(cpu);
		assert(!dying);
		was_empty = true;	/* there is one block */
		dying = true
	};
	atomic {			/* queue_delayed_work() */
		assert(!destroyed);
		if
		:: was_empty -> queued = true
		:: else
		fi
	};
#ifndef NO_RCU_IN_FREE_FOLIO
	rcu[cpu]--;
#endif
}

/* folio_put() */
inline put(cpu, last, was_empty) {
	atomic {
		touch(cpu);
		assert(ref);
		ref--;
		last = (ref == 0)
	};
	if
	:: last -> free_folio(cpu, was_empty)
	:: else
	fi
}

proctype pinner(byte cpu) {
	byte round = 0, page;
	bool got, populate, last, was_empty;

	do
	:: round == ROUNDS -> break
	:: else ->
		round++;
		got = false;
		speculate(cpu);

		/* GUP-fast, with IRQs off */
		rcu[cpu]++;
		if
		:: state == LIVE ->	/* transient_pfn_live() */
			atomic {	/* folio_ref_try_add() */
				touch(cpu);
				if
				:: ref -> ref++; got = true
				:: else
				fi
			}
		:: else
		fi;
		rcu[cpu]--;

		if
		:: got
		:: else ->
			/* transient_memmap_populate(): pool_get() */
			if
			:: atomic { !killed -> pgref++ }
			:: killed -> break
			fi;
			populate = false;
			/* block_claim(), under the section's lock */
			atomic {
				(state != POPULATING && state != UNMAPPED);
				if
				:: state == ABSENT ->
					state = POPULATING;
					populate = true
				:: else ->
					/* block_revive() */
					touch(cpu);
					if
					:: ref -> ref++
					:: else ->
#ifdef REVIVE_WITHOUT_LINK_REF
						ref = 1;
#else
						ref = 2;
#endif
						state = LIVE
					fi;
					pgref--
				fi
			};
			if
			:: populate ->
				/* block_populate(): a page that nobody uses */
				atomic {
					page = 1;
					do
					:: !used[page] -> break
					:: used[page] && page < PAGES -> page++
					od;
					used[page] = true;
					pte = page
				};
				touch(cpu);	/* block_init() */
				atomic {
					touch(cpu);
					ref = 1;
					if	/* pool_keep_new() */
					:: !killed -> kept = true; ref++
					:: skip
					fi
				};
				state = LIVE
			:: else
			fi;
			got = true
		fi;

		/* I/O */
		touch(cpu);
		put(cpu, last, was_empty)
	od;
	left--
}

/* The shrinker, ageing, or a cache that is full: kept_drop() */
proctype dropper() {
	bool last, was_empty;

end:	do
	:: atomic { kept -> kept = false };
		put(DROPPER, last, was_empty)
	:: destroyed -> break
	od
}

/* block_take_link(), under the section's lock: is the block dying? */
inline take_link(yes) {
	touch(WORKER);
	if
	:: !ref -> yes = true
	:: ref ->
		if
		:: !killed && !kept -> kept = true; yes = false
		:: true -> ref--; yes = (ref == 0)
		fi
	fi
}

/* pool_free_work() */
proctype worker() {
	byte cpu, old;
	bool have, was_empty;

end:	do
	:: destroyed -> break
	:: atomic { queued -> queued = false; running = true };
		atomic { have = dying; dying = false };	/* llist_del_all() */
		if
		:: have ->
			atomic {		/* block_hide() */
				take_link(have);
				if
				:: have -> state = HIDDEN
				:: else
				fi
			}
		:: else
		fi;
		if
		:: have ->
#ifndef NO_GRACE_PERIOD
			cpu = 0;		/* synchronize_rcu() */
			do
			:: cpu < CPUS ->
				(!rcu[cpu]);
				cpu++
			:: else -> break
			od;
#endif
			speculate(WORKER);
			atomic {		/* block_unmap() */
				old = 0;
				if
#ifndef UNMAP_WITHOUT_STATE_CHECK
				:: state != HIDDEN -> take_link(have)
				:: else ->
#else
				:: true ->
#endif
					touch(WORKER);
					old = pte;
					pte = 0;
					state = UNMAPPED
				fi
			};
			if
			:: !old && have -> free_folio(WORKER, was_empty)
			:: !old && !have
			:: old ->
#ifdef NO_FLUSH_BEFORE_FREE
				atomic { used[old] = false; state = ABSENT };
#endif
				cpu = 0;	/* flush_tlb_kernel_range() */
				do
				:: cpu < CPUS ->
					tlb[cpu] = 0;
					cpu++
				:: else -> break
				od;
#ifndef NO_FLUSH_BEFORE_FREE
				used[old] = false;	/* block_free() */
				state = ABSENT;
#endif
				pgref--
			fi
		:: else
		fi;
		running = false
	od
}

/* The worker is called for another block as well. */
proctype other() {
	if
	:: atomic { !killed -> pgref++ };
		queued = true;
		pgref--
	:: killed
	fi
}

/* memunmap_pages(), at any time; those who pin later are refused */
proctype provider() {
	bool last, was_empty;

	killed = true;			/* percpu_ref_kill() */
	(pgref == 0);			/* drop_any(): the dropper does it */
	(!running && !queued);		/* flush_delayed_work() */
	destroyed = true;

	/* What is left, when those who are late have seen it */
	(left == 0);
	assert(state == ABSENT && !pte && !kept && !dying && !queued);
	assert(!used[1] && !used[2])
}

init {
	byte i = 0;

	atomic {
		do
		:: i < PINNERS -> run pinner(i); i++
		:: else -> break
		od;
		run dropper();
		run worker();
		run other();
		run provider()
	}
}
