from typing import final

@final
class Events: ...
