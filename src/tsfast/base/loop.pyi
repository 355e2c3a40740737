from typing import final

@final
class Loop: ...
