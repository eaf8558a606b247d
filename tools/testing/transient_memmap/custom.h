/* SPDX-License-Identifier: GPL-2.0 */
/* What behaves as in the kernel, or stricter, as far as the pool can see. */

#undef READ_ONCE
#undef WRITE_ONCE
#undef min
#undef max
#undef __set_bit
#undef synchronize_rcu
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, val)	__atomic_store_n(&(x), val, __ATOMIC_RELAXED)
/* What pairs with what is said where they are used. */
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
/* Likewise */
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define xchg(p, v)		__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define try_cmpxchg(p, old, v)	__atomic_compare_exchange_n(p, old, v, 0, \
					__ATOMIC_SEQ_CST, __ATOMIC_RELAXED)

#include <linux/llist.h>

static inline unsigned long min(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

static inline unsigned long max(unsigned long a, unsigned long b)
{
	return a > b ? a : b;
}

/* What the kernel would complain about; the tests look at the count. */
static int nr_warnings;

#define WARN_ON(cond)							\
({									\
	bool __warn = (cond);						\
									\
	if (__warn && __atomic_fetch_add(&nr_warnings, 1, 0) < 10)	\
		printf("# %s:%d: WARN_ON(%s)\n", __FILE__, __LINE__,	\
		       #cond);						\
	__warn;								\
})

/* Atomics: of either type */
#define atomic_read(v)			READ_ONCE((v)->counter)
#define atomic_set(v, i)		WRITE_ONCE((v)->counter, i)
#define atomic_add_return(i, v)		__atomic_add_fetch(&(v)->counter, i, \
							   __ATOMIC_SEQ_CST)
#define atomic_try_cmpxchg(v, old, i)	try_cmpxchg(&(v)->counter, old, i)
#define atomic_long_read		atomic_read
#define atomic_long_inc			atomic_inc
#define atomic_long_add			atomic_add_return
#define atomic_long_sub(i, v)		atomic_add_return(-(i), v)
#define atomic_inc(v)			atomic_add_return(1, v)
#define atomic_dec(v)			atomic_add_return(-1, v)
#define ATOMIC_INIT(i)			{ i }
#define ATOMIC_LONG_INIT		ATOMIC_INIT
#define atomic_long_t			atomic_t

static inline bool atomic_inc_not_zero(atomic_t *v)
{
	int old = atomic_read(v);

	while (old && !atomic_try_cmpxchg(v, &old, old + 1))
		;
	return old;
}

struct static_key_false { int counter; };
#define DECLARE_STATIC_KEY_FALSE(name)	extern struct static_key_false name
#define DEFINE_STATIC_KEY_FALSE(name)	struct static_key_false name
#define static_branch_inc(key)		atomic_add_return(1, key)
#define static_branch_dec(key)		atomic_add_return(-1, key)
#define static_branch_unlikely(key)	(atomic_read(key) > 0)

/*
 * With this, there is one thread, which does all work when it waits, or when it
 * is told to: for the fuzzer.
 */
static bool single;
/* Called where others may come in: each grace period, and each page allocation */
static void (*in_grace_period)(void), (*in_reclaim)(void);

/* Tasks, RCU: a grace period waits for the readers of older numbers */
static struct task_struct {
	bool used, killed, irq;
	int rcu_depth, locks, state;
	unsigned long rcu_gp;
} __aligned(64) tasks[4096];
static int nr_tasks;
static unsigned long rcu_gp = 1, nr_expedited;
static pthread_key_t task_key;

static inline void task_exit(void *task)
{
	__atomic_store_n(&((struct task_struct *)task)->used, false,
			 __ATOMIC_RELEASE);
}

static inline struct task_struct *get_current(void)
{
	static __thread struct task_struct *task;
	int i, nr;

	if (task)
		return task;
	for (i = 0; xchg(&tasks[i].used, true); i++)
		;
	task = &tasks[i];
	task->killed = false;
	nr = READ_ONCE(nr_tasks);
	while (nr <= i && !try_cmpxchg(&nr_tasks, &nr, i + 1))
		;
	pthread_setspecific(task_key, task);
	return task;
}

#define current				get_current()
#define fatal_signal_pending(task)	READ_ONCE((task)->killed)
#define set_current_state(s)		WRITE_ONCE(current->state, s)
#define might_sleep()	\
	WARN_ON(current->locks || current->rcu_depth || current->irq)
#define rcu_read_lock_any_held()	(current->rcu_depth > 0)
#define rcu_assign_pointer(p, v)	smp_store_release(&(p), v) /* readers */
#define RCU_INIT_POINTER(p, v)		WRITE_ONCE(p, v)
#define rcu_access_pointer(p)		READ_ONCE(p)
#define rcu_dereference_raw(p)		__atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define rcu_dereference_check(p, cond)	\
	({ WARN_ON(!(cond)); __atomic_load_n(&(p), __ATOMIC_ACQUIRE); })
#define kfree_rcu(p, member)	do { synchronize_rcu(); kfree(p); } while (0)

static inline void rcu_read_lock(void)
{
	if (!current->rcu_depth++)
		__atomic_store_n(&current->rcu_gp,
				 __atomic_load_n(&rcu_gp, __ATOMIC_SEQ_CST),
				 __ATOMIC_SEQ_CST);
}

static inline void rcu_read_unlock(void)
{
	if (!--current->rcu_depth)
		__atomic_store_n(&current->rcu_gp, 0, __ATOMIC_SEQ_CST);
}

static inline void synchronize_rcu(void)
{
	unsigned long gp = __atomic_add_fetch(&rcu_gp, 1, __ATOMIC_SEQ_CST);
	int i, nr = __atomic_load_n(&nr_tasks, __ATOMIC_SEQ_CST);
	unsigned long *reader;

	might_sleep();
	if (in_grace_period)
		in_grace_period();
	/* Who is no reader has 0. */
	for (i = 0; i < nr; i++) {
		reader = &tasks[i].rcu_gp;
		while (__atomic_load_n(reader, __ATOMIC_SEQ_CST) - 1 < gp - 1)
			usleep(20);
	}
}

static inline void synchronize_rcu_expedited(void)
{
	__atomic_add_fetch(&nr_expedited, 1, 0);
	synchronize_rcu();
}

DEFINE_LOCK_GUARD_0(rcu, rcu_read_lock(), rcu_read_unlock());

/* Locks; each has the condition that wait_var_event_any_lock() waits for */
struct mutex {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct task_struct *owner;
	unsigned int wakeups;
};

#define spinlock_t			struct mutex
#define MUTEX_INIT	{ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER }
#define DEFINE_MUTEX(name)		struct mutex name = MUTEX_INIT
#define spin_lock_init(lock)		(*(lock) = (spinlock_t)MUTEX_INIT)
#define lockdep_assert_held(lock)	\
	WARN_ON(READ_ONCE((lock)->owner) != current)
#define wait_var_event_any_lock(var, condition, lock, type, state)	\
({									\
	int __ret = 0;							\
									\
	(void)(var);							\
	(void)(state);							\
									\
	while (!(condition) && !__ret)					\
		__ret = type ## _wait(lock);				\
	__ret;								\
})

static inline void spin_lock(spinlock_t *lock)
{
	/* The last unpin may be in an interrupt, and takes none. */
	WARN_ON(current->irq);
	current->locks++;
	pthread_mutex_lock(&lock->mutex);
	WRITE_ONCE(lock->owner, current);
}

static inline void spin_unlock(spinlock_t *lock)
{
	WRITE_ONCE(lock->owner, NULL);
	pthread_mutex_unlock(&lock->mutex);
	current->locks--;
}

static inline void mutex_lock(struct mutex *lock)
{
	might_sleep();
	spin_lock(lock);
	current->locks--;
}

static inline void mutex_unlock(struct mutex *lock)
{
	current->locks++;
	spin_unlock(lock);
}

static inline void wake_up_var_locked(void *var, spinlock_t *lock)
{
	lock->wakeups++;
	pthread_cond_broadcast(&lock->cond);
}

/* A wakeup ends it, not the time limit, which is for looking at killed. */
static inline int spin_wait(spinlock_t *lock)
{
	unsigned int wakeups = lock->wakeups;
	struct timespec ts;

	WARN_ON(current->locks != 1 || current->rcu_depth);
	/* With one thread, nobody would end it. */
	if (fatal_signal_pending(current) || WARN_ON(single))
		return -ERESTARTSYS;
	WRITE_ONCE(current->state, TASK_KILLABLE);
	while (wakeups == lock->wakeups && !fatal_signal_pending(current)) {
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += (ts.tv_nsec + 10000000) / 1000000000;
		ts.tv_nsec = (ts.tv_nsec + 10000000) % 1000000000;
		pthread_cond_timedwait(&lock->cond, &lock->mutex, &ts);
	}
	WRITE_ONCE(current->state, TASK_RUNNING);
	WRITE_ONCE(lock->owner, current);
	return 0;
}

DEFINE_LOCK_GUARD_1(spinlock, spinlock_t, spin_lock(_T->lock),
		    spin_unlock(_T->lock));
DEFINE_LOCK_GUARD_1(mutex, struct mutex, mutex_lock(_T->lock),
		    mutex_unlock(_T->lock));

/* One workqueue, with some threads, and with a clock that the test advances */
struct work_struct {
	void (*func)(struct work_struct *work);
	struct list_head entry;
	unsigned long due;
	int pending;
	bool running;
};

struct delayed_work { struct work_struct work; };

static DEFINE_MUTEX(wq);
static LIST_HEAD(wq_pending);
static unsigned long wq_now = -300; /* overflows soon, as jiffies do */
static int wq_running;
/* Called by who queues work, before it does */
static void (*before_queue)(void);

/* How much of it passes whenever the pool looks at it */
static unsigned long time_flies;

#define jiffies	\
	__atomic_fetch_add(&wq_now, READ_ONCE(time_flies), __ATOMIC_RELAXED)
#define now()				READ_ONCE(wq_now)
#define system_dfl_wq			NULL
#define to_delayed_work(w)	container_of(w, struct delayed_work, work)
#define INIT_DELAYED_WORK(w, fn)	((w)->work.func = (fn))
#define DECLARE_DELAYED_WORK(name, fn)	\
	struct delayed_work name = { { .func = fn } }
#define wq_wait()			pthread_cond_wait(&wq.cond, &wq.mutex)

DEFINE_LOCK_GUARD_0(wq, pthread_mutex_lock(&wq.mutex),
		    pthread_cond_broadcast(&wq.cond);
		    pthread_mutex_unlock(&wq.mutex));

static inline void tick(unsigned long nr)
{
	guard(wq)();
	__atomic_fetch_add(&wq_now, nr, __ATOMIC_RELAXED);
}

static inline bool queue_work_at(struct work_struct *w, unsigned long due,
				 bool modify)
{
	/* If it is pending, this is a full barrier, and no lock is taken. */
	if (!modify && __atomic_fetch_or(&w->pending, 0, __ATOMIC_SEQ_CST))
		return false;
	guard(wq)();
	if (READ_ONCE(w->pending)) {
		if (modify)
			w->due = due;
		return false;
	}
	(void)xchg(&w->pending, 1);
	w->due = due;
	list_add_tail(&w->entry, &wq_pending);
	return true;
}

static inline bool queue_delayed_work(struct workqueue_struct *q,
				      struct delayed_work *dwork,
				      unsigned long delay)
{
	if (before_queue)
		before_queue();
	return queue_work_at(&dwork->work, jiffies + delay, false);
}

static inline bool mod_delayed_work(struct workqueue_struct *q,
				    struct delayed_work *dwork,
				    unsigned long delay)
{
	return queue_work_at(&dwork->work, jiffies + delay, true);
}

static inline struct work_struct *wq_next(void)
{
	struct work_struct *w;

	list_for_each_entry(w, &wq_pending, entry)
		if (time_after_eq(now(), w->due) && !w->running)
			return w;
	return NULL;
}

/* Waits for work that is due, unless there is one thread. */
static inline bool run_work(void)
{
	struct work_struct *w;

	scoped_guard(wq) {
		while (!(w = wq_next())) {
			if (single)
				return false;
			wq_wait();
		}
		list_del(&w->entry);
		(void)xchg(&w->pending, 0);
		w->running = true;
		wq_running++;
	}
	w->func(w);
	scoped_guard(wq) {
		w->running = false;
		wq_running--;
	}
	return true;
}

static inline void *wq_thread(void *unused)
{
	for (;;)
		run_work();
	return NULL;
}

static inline void *alloc_workqueue(char *name, int flags, int max)
{
	pthread_t thread;
	int i;

	for (i = 0; i < 3 && !single; i++)
		if (pthread_create(&thread, NULL, wq_thread, NULL))
			return NULL;
	return name;
}

static inline void cancel_delayed_work_sync(struct delayed_work *dwork)
{
	struct work_struct *w = &dwork->work;

	might_sleep();
	guard(wq)();
	if (READ_ONCE(w->pending))
		list_del(&w->entry);
	(void)xchg(&w->pending, 0);
	while (w->running)
		wq_wait();
}

static inline bool wq_is_busy(void)
{
	guard(wq)();
	return wq_running || wq_next();
}

/* Let others go on meanwhile: those who wait for the clock have it advance. */
static inline void pass_time(void)
{
	tick(1);
	if (!single)
		usleep(100);
	else
		while (run_work())
			;
}

static inline long schedule_timeout(long timeout)
{
	struct task_struct *task = current;
	unsigned long end = jiffies + timeout;

	/* Or there would be a backtrace in the log. */
	WARN_ON(timeout < 0);
	might_sleep();
	while (single && task->state && !time_after_eq(jiffies, end))
		pass_time();
	guard(wq)();
	while (task->state && !task->killed && !time_after_eq(now(), end))
		wq_wait();
	WRITE_ONCE(task->state, TASK_RUNNING);
	return time_after_eq(now(), end) ? 0 : end - now();
}

static inline void wake_up_process(struct task_struct *task)
{
	guard(wq)();
	WRITE_ONCE(task->state, TASK_RUNNING);
}

static inline void kill_task(struct task_struct *task)
{
	guard(wq)();
	WRITE_ONCE(task->killed, true);
}

/* Allocation: counted, and failing when the test says so */
static long fail_nth, nr_objects, nr_pages, nr_memmap_pages;
static bool fail_all;

#define kzalloc_obj(obj, ...)	kzalloc(sizeof(obj))
#define memmap_pages_add(n)	__atomic_add_fetch(&nr_memmap_pages, n, 0)

#define kzalloc_node(size, gfp, nid)	kzalloc(size)

/* fail_nth: which allocation from now on shall fail */
static inline bool should_fail(void)
{
	might_sleep();
	if (READ_ONCE(fail_all) || READ_ONCE(fail_nth) <= 0)
		return READ_ONCE(fail_all);
	return !__atomic_sub_fetch(&fail_nth, 1, 0);
}

static inline void *kzalloc(size_t size)
{
	if (should_fail())
		return NULL;
	__atomic_add_fetch(&nr_objects, 1, 0);
	return calloc(1, size);
}

static inline void kfree(void *p)
{
	__atomic_sub_fetch(&nr_objects, 1, 0);
	free(p);
}

/* An xarray: of few entries; nobody looks at their value. */
struct xarray {
	pthread_mutex_t lock; /* nr, index */
	int nr;
	unsigned long index[64];
};

#define DEFINE_XARRAY(name)		\
	struct xarray name = { .lock = PTHREAD_MUTEX_INITIALIZER }
#define xa_mk_value(v)			((void *)(unsigned long)(v))
#define xa_empty(xa)			(!READ_ONCE((xa)->nr))
#define xa_load(xa, first)	xa_find(xa, &(unsigned long){ first }, first, 0)

static inline void *xa_find(struct xarray *xa, unsigned long *index,
			    unsigned long last, int filter)
{
	void *found = NULL;
	int i;

	if (xa_empty(xa))
		return NULL;
	pthread_mutex_lock(&xa->lock);
	for (i = 0; i < xa->nr; i++)
		if (xa->index[i] >= *index && xa->index[i] <= last)
			found = xa_mk_value(1);
	pthread_mutex_unlock(&xa->lock);
	return found;
}

static inline void *xa_erase(struct xarray *xa, unsigned long index)
{
	void *found = NULL;
	int i;

	pthread_mutex_lock(&xa->lock);
	for (i = xa->nr - 1; i >= 0; i--) {
		if (xa->index[i] != index)
			continue;
		WRITE_ONCE(xa->nr, xa->nr - 1);
		xa->index[i] = xa->index[xa->nr];
		found = xa_mk_value(1);
	}
	pthread_mutex_unlock(&xa->lock);
	return found;
}

static inline void xa_store(struct xarray *xa, unsigned long index, void *entry,
			    int gfp)
{
	might_sleep();
	if (!(gfp & __GFP_NOFAIL) && should_fail())
		return;
	xa_erase(xa, index);
	pthread_mutex_lock(&xa->lock);
	if (xa->nr == ARRAY_SIZE(xa->index))
		abort();
	xa->index[xa->nr] = index;
	WRITE_ONCE(xa->nr, xa->nr + 1);
	pthread_mutex_unlock(&xa->lock);
}

/* The shrinker: the test calls it. */
struct shrink_control {
	int nid;
	unsigned long nr_to_scan;
};

struct shrinker {
	unsigned long (*count_objects)(struct shrinker *s,
				       struct shrink_control *sc);
	unsigned long (*scan_objects)(struct shrinker *s,
				      struct shrink_control *sc);
	void *private_data;
	int seeks;
	unsigned int flags;
};

static inline struct shrinker *shrinker_alloc(unsigned int flags, const char *name)
{
	struct shrinker *s = kzalloc(sizeof(*s));

	if (s)
		s->flags = flags;
	return s;
}

#define shrinker_register(...)		do { } while (0)
#define shrinker_free(shrinker)		kfree(shrinker)
