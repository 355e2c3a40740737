from typing import final

@final
class Waiters: ...
